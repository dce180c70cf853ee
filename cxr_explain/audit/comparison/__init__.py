"""Two audits of the same images: what differs between their models, weights, engines or preprocessings."""
