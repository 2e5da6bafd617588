"""The object store: uploads, adapters and results, on local disk or in a cloud."""
