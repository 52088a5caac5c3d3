"""The drafters, one file each: see docs/drafting.md, and the recipe in docs/dev/adding.md."""
