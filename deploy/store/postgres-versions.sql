-- The table of former bodies and the rights of a node, for --store
-- postgres://…?versions=30d. Run it after postgres.sql, once:
--     psql -v ON_ERROR_STOP=1 -f postgres-versions.sql wsnode
-- A node adds copies, and removes those that are too old.

-- The table of former bodies, for stores with ?versions=. Each is there as long as that
-- says after another body replaced it.
create table wsnode_versions (
    license      text        collate "C" not null,
    tenant       text        collate "C" not null,
    app          text        collate "C" not null,
    name         text        collate "C" not null,
    id           text        collate "C" not null, -- when it was written, and its hash
    generation   text        not null,
    sha256       bytea       not null,
    body         bytea       not null,             -- one Yjs V1 update
    epoch        text        not null,
    region       text        not null,
    revision     numeric(20) not null,
    keep_deleted boolean     not null,
    written_at   timestamptz not null,             -- by the writer's clock
    replaced_at  timestamptz not null default now(),
    primary key (license, tenant, app, name, id)
);
alter table wsnode_versions alter column body set storage external;
create index on wsnode_versions (license, replaced_at);

grant select, insert, delete on wsnode_versions to wsnode;
