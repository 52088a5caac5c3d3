"""Images in the OCI format: their files (`trees`), layers (`layers`), configuration (`settings`) and archives (`archive`)."""
