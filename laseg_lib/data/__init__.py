"""From a scan on disk to a checked array: files, formats, phantoms, the download."""
