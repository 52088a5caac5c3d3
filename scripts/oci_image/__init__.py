"""Images in the OCI format: files (`trees`), layers (`layers`), configuration (`settings`), archives (`archive`)."""
