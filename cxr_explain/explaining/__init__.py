"""From a radiograph to its explanation: preprocessing, ranking, the explainer, many files at once."""
