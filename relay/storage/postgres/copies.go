package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

//go:embed versions.sql
var versionsSchema string

const defaultVersions = "wsnode_versions"

// VersionsSchema is the SQL that creates the table of former bodies that belongs to a
// table of documents.
func VersionsSchema(table string) (string, error) {
	quoted, err := quote(versionsTable(table))
	return strings.ReplaceAll(versionsSchema, defaultVersions, quoted), err
}

// versionsTable names the table of former bodies, in the schema of that of documents.
func versionsTable(table string) string {
	schema, name, ok := strings.Cut(table, ".")
	if !ok {
		schema, name = "", table
	} else {
		schema += "."
	}
	if name == "" || name == DefaultTable {
		return schema + defaultVersions
	}
	return schema + name + "_versions"
}

// keeping is the part of an update, before it, that copies the row which it replaces: in
// one statement, so that there is neither without the other. The arguments are those of
// write. The id is that of storage.CopyID.
func (s *Store) keeping() string {
	if s.keeps == 0 {
		return ""
	}
	return `with kept as (insert into ` + s.versions + ` (license, tenant, app, name, id, generation, sha256, body, epoch, region, revision, keep_deleted, written_at)
		select license, tenant, app, name,
			to_char(written_at at time zone 'UTC', 'YYYYMMDD"T"HH24MISS.MS"Z-"') || left(encode(sha256, 'hex'), 16),
			generation, sha256, body, epoch, region, revision, keep_deleted, written_at
		from ` + s.table + where + ` and version = $14 and license <> '' and not deleted and length(body) > 0
			and ($6 or generation <> $5 or date_trunc('hour', written_at at time zone 'UTC') <> date_trunc('hour', $13::timestamptz at time zone 'UTC'))
		on conflict do nothing) `
}

// Keeps implements storage.Versioned.
func (s *Store) Keeps() time.Duration { return s.keeps }

// errVersions is the answer of a store whose table of former bodies is not used.
func (s *Store) errVersions() error {
	if s.keeps > 0 {
		return nil
	}
	return fmt.Errorf("%w: its URL has no versions=", storage.ErrNoCopies)
}

// Copies implements storage.Versioned.
func (s *Store) Copies(ctx context.Context, d docid.Document) ([]storage.Copy, error) {
	if err := s.errVersions(); err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `select id, written_at, replaced_at, length(body) from `+s.versions+where, key(d)...)
	if err == nil {
		var copies []storage.Copy
		copies, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (c storage.Copy, err error) {
			err = r.Scan(&c.ID, &c.Time, &c.Replaced, &c.Size)
			c.Time = c.Time.UTC()
			return c, err
		})
		if err == nil {
			storage.SortCopies(copies)
			return copies, nil
		}
	}
	return nil, failed("list versions of", d, classify(err))
}

// LoadCopy implements storage.Versioned.
func (s *Store) LoadCopy(ctx context.Context, d docid.Document, id string, reserve storage.Reserve) (storage.Stored, error) {
	if err := s.errVersions(); err != nil {
		return storage.Stored{}, err
	}
	stored, err := s.loadCopy(ctx, d, id, reserve)
	return stored, failed("load version "+id+" of", d, err)
}

func (s *Store) loadCopy(ctx context.Context, d docid.Document, id string, reserve storage.Reserve) (storage.Stored, error) {
	one, args := where+` and id = $5`, append(key(d), id)
	var r row
	err := s.pool.QueryRow(ctx, `select 0::bigint, generation, false, sha256, length(body), epoch, region, revision::text, keep_deleted, written_at from `+
		s.versions+one, args...).Scan(r.targets()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return storage.Stored{}, storage.ErrAbsent
	}
	if err != nil {
		return storage.Stored{}, classify(err)
	}
	info, err := r.info(d)
	if err == nil {
		err = reserve.Ask(ctx, info.Size)
	}
	if err != nil {
		return storage.Stored{}, err
	}
	var body []byte
	err = s.pool.QueryRow(ctx, `select body from `+s.versions+one, args...).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) {
		return storage.Stored{}, storage.ErrAbsent // it expired meanwhile
	}
	if err != nil {
		return storage.Stored{}, classify(err)
	}
	return storage.Stored{Info: info, Body: body}, storage.CheckBody(d, info, body)
}

// Expire implements storage.Versioned.
func (s *Store) Expire(ctx context.Context, l docid.LicenseRegion, before time.Time) (int, error) {
	if err := s.errVersions(); err != nil {
		return 0, err
	}
	tag, err := s.pool.Exec(ctx, `delete from `+s.versions+` where license = $1 and replaced_at < $2`, string(l), before)
	if err != nil {
		return 0, fmt.Errorf("remove old versions: %w", classify(err))
	}
	return int(tag.RowsAffected()), nil
}

// Erase implements storage.Versioned.
func (s *Store) Erase(ctx context.Context, d docid.Document) (int, error) {
	if err := s.errVersions(); err != nil {
		return 0, err
	}
	tag, err := s.pool.Exec(ctx, `delete from `+s.versions+where, key(d)...)
	if err != nil {
		return 0, failed("remove versions of", d, classify(err))
	}
	return int(tag.RowsAffected()), nil
}
