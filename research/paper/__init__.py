"""The claims of the MALLES paper (arXiv 2603.17694), each tested on choice occasions."""
