-- For a connection to a published version, before anything else: the version and the parts that it
-- lists are within reach, and no other file, no network, no setting.
set TimeZone = 'UTC';
set variable parts = (select coalesce(list(path), []) from published.parts);
set allowed_paths = getvariable('parts');
set enable_external_access = false;
set lock_configuration = true;
