"""Methods compared by metrics on many images: annotations, boxes matched to objects, means with intervals, a report."""
