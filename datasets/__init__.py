"""What an image is: data sets, few-shot selections, shards."""
