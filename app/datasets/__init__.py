"""What a training file is: formats, check, tokens and labels; one truth for upload, preview and training."""
