"""What the product costs: app CPU per request, as ratios in one run. `make bench`."""
