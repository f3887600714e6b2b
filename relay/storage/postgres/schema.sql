-- The table of documents. Names are compared byte by byte, so that no two of them are
-- ever taken for the same, and lists are in that order.
create table wsnode_documents (
    license      text        collate "C" not null, -- '' is the store's marker
    tenant       text        collate "C" not null,
    app          text        collate "C" not null,
    name         text        collate "C" not null,
    version      bigint      not null,
    generation   text        not null default '0',
    deleted      boolean     not null default false,
    sha256       bytea       not null,
    body         bytea       not null,             -- one Yjs V1 update; empty in a tombstone
    epoch        text        not null default '',
    region       text        not null default '',
    revision     numeric(20) not null default 0,
    keep_deleted boolean     not null default false,
    written_at   timestamptz not null default now(), -- by the writer's clock
    stored_at    timestamptz not null default now(),
    primary key (license, tenant, app, name)
);
-- An update is compressed badly and read whole.
alter table wsnode_documents alter column body set storage external;
