"""The drafters, one file each: see docs/dev/drafting.md, and the recipe in docs/dev/adding.md."""
