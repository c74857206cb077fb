"""What each method minimises: a network and its loss as one module, so that the loop knows neither."""
