// Package postgres keeps documents in a table of PostgreSQL: one row per document,
// whose version is a number that each write adds one to. It asks the primary only,
// and commits synchronously. It creates nothing: Schema is for the operator.
package postgres

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
)

// MaxBody is the largest body. PostgreSQL could take more in one value, but holds it
// several times over on its way.
const MaxBody = 64 << 20

// DefaultTable is the table's name if none is given.
const DefaultTable = "wsnode_documents"

// connections are enough: requests of one are answered in turn, and stores are rare.
const connections = 4

// Config says which database and table.
type Config struct {
	URL      string // postgres://user@host/database, with the parameters of libpq
	PassFile string // the password, in libpq's format; empty is PGPASSFILE or ~/.pgpass
	Table    string // with or without a schema; empty is DefaultTable
	// Versions is how long former bodies are kept, see storage.Versioned; 0: none are.
	Versions time.Duration
}

// Store is a table. It implements storage.Store and storage.Versioned.
type Store struct {
	pool            *pgxpool.Pool
	table, versions string // quoted
	keeps           time.Duration
}

//go:embed schema.sql
var schema string

// Schema is the SQL that creates the table.
func Schema(table string) (string, error) {
	quoted, err := quote(table)
	return strings.ReplaceAll(schema, DefaultTable, quoted), err
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)

func quote(table string) (string, error) {
	if table == "" {
		table = DefaultTable
	}
	if !identifier.MatchString(table) {
		return "", fmt.Errorf("table %q: expected a name, with or without a schema, of letters, digits and '_'", table)
	}
	return pgx.Identifier(strings.Split(table, ".")).Sanitize(), nil
}

// Open reads the configuration. It connects when the first call needs it; each
// connection is tried, see accept.
func Open(ctx context.Context, c Config) (*Store, error) {
	table, err := quote(c.Table)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL store: %w", err)
	}
	config, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL store: %s", storage.RedactError(err, c.URL))
	}
	if c.PassFile != "" && config.ConnConfig.Password == "" {
		if config.ConnConfig.Password, err = readPassFile(c.PassFile, config.ConnConfig); err != nil {
			return nil, fmt.Errorf("open PostgreSQL store: %w", err)
		}
	}
	config.MaxConns = connections
	config.AfterConnect = accept
	versions, err := quote(versionsTable(c.Table))
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL store: %w", err)
	}
	if c.Versions > 0 {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			if err := accept(ctx, conn); err != nil {
				return err
			}
			return hasVersions(ctx, conn, versions)
		}
	}
	// Of several hosts, the one that takes writes.
	config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL store: %s", storage.RedactError(err, c.URL))
	}
	return &Store{pool: pool, table: table, versions: versions, keeps: c.Versions}, nil
}

// Close closes all connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// accept refuses a server that is not the primary, or loses what it acknowledged.
func accept(ctx context.Context, conn *pgx.Conn) error {
	var standby bool
	var commit, fsync, encoding string
	err := conn.QueryRow(ctx, `select pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('fsync'),
		current_setting('server_encoding')`).Scan(&standby, &commit, &fsync, &encoding)
	switch {
	case err != nil:
		return err
	case standby:
		return fmt.Errorf("%w: it is a standby, whose answers may be old", storage.ErrRefused)
	case fsync != "on":
		return fmt.Errorf("%w: its fsync is %s, which loses what it acknowledged", storage.ErrRefused, fsync)
	case encoding != "UTF8":
		return fmt.Errorf("%w: its encoding is %s, expected UTF8", storage.ErrRefused, encoding)
	}
	if commit == "off" || commit == "local" {
		_, err = conn.Exec(ctx, `set synchronous_commit = on`)
	}
	return err
}

// hasVersions refuses a database that cannot keep versions before anything waits for it.
func hasVersions(ctx context.Context, conn *pgx.Conn, table string) error {
	_, err := conn.Exec(ctx, `select from `+table+` limit 0`)
	return classify(err)
}

// columns are what is read of a row without its body, in the order of scan.
const columns = `version, generation, deleted, sha256, length(body), epoch, region, revision::text, keep_deleted, written_at`

const where = ` where license = $1 and tenant = $2 and app = $3 and name = $4`

func key(d docid.Document) []any {
	return []any{string(d.License), string(d.Tenant), string(d.App), d.Name}
}

// row is a row without its body.
type row struct {
	version       int64
	generation    string
	deleted       bool
	sha256        []byte
	size          int64
	epoch, region string
	revision      string
	keepDeleted   bool
	written       time.Time
}

func (r *row) targets() []any {
	return []any{&r.version, &r.generation, &r.deleted, &r.sha256, &r.size, &r.epoch, &r.region, &r.revision, &r.keepDeleted, &r.written}
}

// keeping stands before the generation of a body that keeps deleted content: versions
// that would lose that content cannot read it, and refuse the document.
const keeping = "k"

func generation(m storage.Meta) string {
	if m.KeepDeleted {
		return keeping + m.Generation.String()
	}
	return m.Generation.String()
}

func (r *row) info(d docid.Document) (storage.Info, error) {
	generation, err := storage.ParseGeneration(strings.TrimPrefix(r.generation, keeping))
	revision, err2 := strconv.ParseUint(r.revision, 10, 64)
	info := storage.Info{
		Version: storage.Version(strconv.FormatInt(r.version, 10)), Deleted: r.deleted, Size: r.size,
		Meta: storage.Meta{
			Generation: generation, Epoch: r.epoch, Revision: revision, Region: docid.Region(r.region),
			KeepDeleted: r.keepDeleted, Time: r.written.UTC(),
		},
	}
	if err := errors.Join(err, err2); err != nil {
		return storage.Info{}, storage.Corrupt(d, "%v", err)
	}
	if len(r.sha256) != len(info.SHA256) {
		return storage.Info{}, storage.Corrupt(d, "a hash of %d bytes", len(r.sha256))
	}
	copy(info.SHA256[:], r.sha256)
	return info, nil
}

// Stat implements storage.Store.
func (s *Store) Stat(ctx context.Context, d docid.Document) (storage.Info, error) {
	info, err := s.current(ctx, d)
	if err == nil {
		info, err = found(d, info)
	}
	return info, failed("stat", d, err)
}

func found(d docid.Document, info storage.Info) (storage.Info, error) {
	if info.Version == storage.Absent {
		return storage.Info{}, storage.ErrAbsent
	}
	return storage.Found(d, info)
}

// current is what is there, or a zero Info for nothing.
func (s *Store) current(ctx context.Context, d docid.Document) (storage.Info, error) {
	var r row
	err := s.pool.QueryRow(ctx, `select `+columns+` from `+s.table+where, key(d)...).Scan(r.targets()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return storage.Info{}, nil
	}
	if err != nil {
		return storage.Info{}, classify(err)
	}
	return r.info(d)
}

// Load implements storage.Store. A small body comes at once; of a large one the
// length comes first, and then the very version that memory was reserved for.
func (s *Store) Load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	stored, err := s.load(ctx, d, reserve)
	return stored, failed("load", d, err)
}

func (s *Store) load(ctx context.Context, d docid.Document, reserve storage.Reserve) (storage.Stored, error) {
	var r row
	var body []byte
	query := fmt.Sprintf(`select `+columns+`, case when length(body) <= %d then body end from `+s.table+where, storage.UnreservedBytes)
	err := s.pool.QueryRow(ctx, query, key(d)...).Scan(append(r.targets(), &body)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return storage.Stored{}, storage.ErrAbsent
	}
	if err != nil {
		return storage.Stored{}, classify(err)
	}
	info, err := r.info(d)
	if err != nil {
		return storage.Stored{}, err
	}
	if info, err = storage.Found(d, info); err != nil {
		return storage.Stored{}, err
	}
	if err := reserve.Ask(ctx, info.Size); err != nil {
		return storage.Stored{}, err
	}
	if info.Size > storage.UnreservedBytes {
		err := s.pool.QueryRow(ctx, `select body from `+s.table+where+` and version = $5`, append(key(d), r.version)...).Scan(&body)
		if errors.Is(err, pgx.ErrNoRows) {
			return storage.Stored{}, fmt.Errorf("it was written while it was read")
		}
		if err != nil {
			return storage.Stored{}, classify(err)
		}
	}
	if err := storage.CheckBody(d, info, body); err != nil {
		return storage.Stored{}, err
	}
	return storage.Stored{Info: info, Body: body}, nil
}

// Save implements storage.Store.
func (s *Store) Save(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta, body []byte) (storage.Version, error) {
	if err := storage.CheckSave(d, body); err != nil {
		return storage.Absent, err
	}
	if len(body) > MaxBody {
		return storage.Absent, fmt.Errorf("save %s: %w: %d bytes, at most %d", d, storage.ErrTooLarge, len(body), MaxBody)
	}
	v, err := s.write(ctx, d, expect, storage.Described(m, body), body)
	return v, failed("save", d, err)
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, d docid.Document, expect storage.Version, m storage.Meta) (storage.Version, error) {
	v, err := s.write(ctx, d, expect, storage.Described(m, nil), []byte{})
	return v, failed("delete", d, err)
}

func failed(what string, d docid.Document, err error) error {
	if err == nil || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrDeleted) || errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%s %s: %w", what, d, err)
}

// write creates or updates a row, once.
func (s *Store) write(ctx context.Context, d docid.Document, expect storage.Version, info storage.Info, body []byte) (storage.Version, error) {
	args := append(key(d), generation(info.Meta), info.Deleted, info.SHA256[:], body, info.Epoch, string(info.Region),
		strconv.FormatUint(info.Revision, 10), info.KeepDeleted, info.Time)
	var version int64
	var err error
	if expect == storage.Absent {
		// A row that is removed and made anew must not have its old versions again.
		err = s.pool.QueryRow(ctx, `insert into `+s.table+` (license, tenant, app, name, generation, deleted, sha256, body,
			epoch, region, revision, keep_deleted, written_at, version)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::numeric, $12, $13, $14)
			on conflict do nothing returning version`, append(args, rand.Int64N(1<<40)<<20+1)...).Scan(&version)
	} else {
		expected, parseErr := strconv.ParseInt(string(expect), 10, 64)
		if parseErr != nil {
			expected = 0 // no version of ours
		}
		err = s.pool.QueryRow(ctx, s.keeping()+`update `+s.table+` set generation = $5, deleted = $6, sha256 = $7, body = $8,
			epoch = $9, region = $10, revision = $11::text::numeric, keep_deleted = $12, written_at = $13, version = version + 1, stored_at = now()`+
			where+` and version = $14 and (deleted or length(body) > 0) returning version`, append(args, expected)...).Scan(&version)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		current, err := s.current(ctx, d)
		if err != nil {
			return storage.Absent, fmt.Errorf("it met another version, which cannot be read: %w", err)
		}
		if current.Version != storage.Absent && current.Size == 0 && !current.Deleted {
			_, err := storage.Found(d, current)
			return storage.Absent, err
		}
		return storage.Absent, storage.Mismatch(d, current)
	}
	if err != nil {
		return storage.Absent, classify(err)
	}
	return storage.Version(strconv.FormatInt(version, 10)), nil
}

// List implements storage.Store. The order is that of the primary key; Next is the
// last one of it, as storage.Key would spell it if no name were too long.
func (s *Store) List(ctx context.Context, q storage.Query) (storage.Page, error) {
	if err := q.Check(); err != nil {
		return storage.Page{}, err
	}
	after, err := parseCursor(q.After)
	if err != nil {
		return storage.Page{}, fmt.Errorf("list: %w", err)
	}
	limit := q.PageSize()
	rows, err := s.pool.Query(ctx, `select license, tenant, app, name, length(body), stored_at, deleted from `+s.table+`
		where (license, tenant, app, name) > ($1, $2, $3, $4) and license <> ''
		and ($5 = '' or license = $5) and ($6 = '' or tenant = $6) and ($7 = '' or app = $7) and starts_with(name, $8)
		order by license, tenant, app, name limit $9`,
		append(key(after), string(q.License), string(q.Tenant), string(q.App), q.Name, limit+1)...)
	if err != nil {
		return storage.Page{}, fmt.Errorf("list: %w", classify(err))
	}
	entries, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (e storage.Entry, err error) {
		err = r.Scan((*string)(&e.Document.License), (*string)(&e.Document.Tenant), (*string)(&e.Document.App), &e.Document.Name, &e.Size, &e.Time, &e.Deleted)
		return e, err
	})
	if err != nil {
		return storage.Page{}, fmt.Errorf("list: %w", classify(err))
	}
	page := storage.Page{Entries: entries}
	if len(entries) > limit {
		page.Entries = entries[:limit]
		page.Next = cursor(entries[limit-1].Document)
	}
	return page, nil
}

// uncut spells a document whole, however long its name is.
var uncut = storage.Spelling{MaxName: 1 << 20}

func cursor(d docid.Document) string { return uncut.Key(d) }

func parseCursor(text string) (docid.Document, error) {
	if text == "" {
		return docid.Document{}, nil
	}
	d, _, err := uncut.Parse(text)
	return d, err
}

// readPassFile finds the password of a connection in a file of libpq's format.
func readPassFile(path string, c *pgx.ConnConfig) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	password, err := findPassword(file, c)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return password, nil
}
