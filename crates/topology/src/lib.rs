//! Providers, regions, zones, distances and topology files.
