"""What a training file is: its formats, its check, its tokens and labels; one truth for upload and training."""
