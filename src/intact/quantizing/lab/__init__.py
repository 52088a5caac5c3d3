"""The lab: what each way to store a model costs and gives, measured side by side."""
