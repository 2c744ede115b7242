"""A Delta Sharing server: consumers load the Delta shares over HTTP, without keys of a bucket.

An optional extra: nothing outside of this folder and its command imports it. In the order of a
request: app (routes and answers) → tokens (who asks) → gate (whether they may, now) → tables
(which files that is) with hints → links (URLs of files) → journal (the audit event).

Only what a run committed is served, and nothing is written to a destination.
"""
