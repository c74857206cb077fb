"""Networks and their weights; `build` is the list, `config` is torch-free (nothing is imported here)."""
