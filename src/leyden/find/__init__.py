"""Before training: a learning rate and a batch size that a config may be trained with."""
