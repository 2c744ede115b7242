"""The data's path, file by file: extracts, models, checks, publish, schedules."""
