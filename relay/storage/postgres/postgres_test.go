package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wsnode/wsnode/docid"
	"github.com/wsnode/wsnode/relay/storage"
	"github.com/wsnode/wsnode/relay/storage/postgres"
	"github.com/wsnode/wsnode/relay/storage/storagetest"
	"github.com/wsnode/wsnode/test/stores"
)

// server is a real PostgreSQL, on a Unix socket only; tests connect to it through a proxy
// on loopback.
type server struct {
	socket string // its directory
}

func (s *server) admin() string { return "host=" + s.socket + " user=admin dbname=postgres" }

// exec runs SQL as the administrator.
func (s *server) exec(sql string, args ...any) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.admin())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if len(args) > 0 {
		_, err = conn.Exec(ctx, sql, args...)
	} else {
		_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	}
	return err
}

// proxy is a way to the server that fails when told to.
type proxy struct {
	target string
	fault  atomic.Pointer[storagetest.Fault]
	listen net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func (s *server) proxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: filepath.Join(s.socket, ".s.PGSQL.5432"), listen: l, conns: map[net.Conn]bool{}}
	none := storagetest.None
	p.fault.Store(&none)
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url(user string) string {
	return "postgres://" + user + "@" + p.listen.Addr().String() + "/postgres?sslmode=disable"
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *proxy) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	c.Close()
}

func (p *proxy) serve(client net.Conn) {
	p.keep(client)
	defer p.forget(client)
	if *p.fault.Load() == storagetest.Down {
		return
	}
	database, err := net.Dial("unix", p.target)
	if err != nil {
		return
	}
	p.keep(database)
	defer p.forget(database)
	p.wg.Go(func() {
		defer database.Close()
		buffer := make([]byte, 32<<10)
		for {
			n, err := client.Read(buffer)
			if *p.fault.Load() == storagetest.Slow {
				continue // swallowed: no answer will come
			}
			if n > 0 {
				if _, err := database.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 32<<10)
	for {
		n, err := database.Read(buffer)
		answer := buffer[:n]
		switch *p.fault.Load() {
		case storagetest.LostReply:
			// The answer to the command breaks the connection; what prepares it passes.
			if bytes.Contains(answer, []byte("INSERT 0 1")) || bytes.Contains(answer, []byte("UPDATE 1")) {
				return
			}
		case storagetest.Truncated:
			if n > 4096 { // a part of a body
				_, _ = client.Write(answer[:n/2])
				return
			}
		}
		if _, writeErr := client.Write(answer); err != nil || writeErr != nil {
			return
		}
	}
}

func (p *proxy) set(f storagetest.Fault) {
	p.fault.Store(&f)
	if f == storagetest.Down || f == storagetest.Slow || f == storagetest.None {
		p.cut() // no connection of the other kind stays
	}
}

func open(t *testing.T, c postgres.Config) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// role is the user that a node connects as, with the rights of deploy/store.
const role = "wsnode"

// install makes the table and the role as an operator would.
func (s *server) install(t *testing.T) {
	t.Helper()
	for _, one := range []struct {
		file, table string
		schema      func(string) (string, error)
	}{
		{"postgres.sql", "wsnode_documents", postgres.Schema},
		{"postgres-versions.sql", "wsnode_versions", postgres.VersionsSchema},
	} {
		schema, err := one.schema("")
		if err != nil {
			t.Fatal(err)
		}
		grants, err := os.ReadFile("../../../deploy/store/" + one.file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(grants), strings.ReplaceAll(schema, `"`+one.table+`"`, one.table)) {
			t.Errorf("deploy/store/%s does not contain the schema of the package", one.file)
		}
		if err := s.exec(string(grants)); err != nil {
			t.Fatal(err)
		}
	}
}

var todo = docid.Document{License: storagetest.License, Tenant: "acme", App: "notes", Name: "todo"}

const whereTodo = ` where license = $1 and tenant = $2 and app = $3 and name = $4`

func keyOf(d docid.Document) []any {
	return []any{string(d.License), string(d.Tenant), string(d.App), d.Name}
}

// One server for all tests: it takes a while to start.
func TestATable(t *testing.T) {
	s := &server{socket: stores.Postgres(t)}
	s.install(t)
	t.Run("keeps the contract", func(t *testing.T) {
		p := s.proxy(t)
		c := postgres.Config{URL: p.url(role)}
		keeping := c
		keeping.Versions = 24 * time.Hour
		storagetest.Run(t, &storagetest.Harness{
			Store: open(t, c), Other: open(t, c), Versioned: open(t, keeping), Inject: s.inject(p), Large: postgres.MaxBody,
			Plant: func(d docid.Document, body []byte) error {
				sum := storage.Sum(body)
				return s.exec(`insert into wsnode_documents (license, tenant, app, name, version, sha256, body) values ($1, $2, $3, $4, 7, $5, $6)`,
					append(keyOf(d), sum[:], append([]byte{}, body...))...)
			},
			Damage: func(d docid.Document) error {
				return s.exec(`update wsnode_documents set body = substr(body, 1, length(body) - 1)`+whereTodo, keyOf(d)...)
			},
		})
	})
	for name, test := range map[string]func(*testing.T, *server){
		"commits synchronously":        commitsSynchronously,
		"refuses what is not there":    notThere,
		"takes 64 MiB and no more":     tooLarge,
		"reads a password file":        passFile,
		"never has a version twice":    versionsAnew,
		"shows no password of a URL":   noSecrets,
		"that loses writes is refused": losesWrites,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func (s *server) inject(p *proxy) func(storagetest.Fault) (func(), error) {
	return func(f storagetest.Fault) (func(), error) {
		switch f {
		case storagetest.Refusal:
			err := s.exec(`revoke all on wsnode_documents, wsnode_versions from ` + role)
			return func() {
				_ = s.exec(`grant select, insert, update on wsnode_documents to ` + role + `; grant select, insert, delete on wsnode_versions to ` + role)
			}, err
		case storagetest.Failing:
			// No statement of the role is finished in time.
			err := s.exec(`alter role ` + role + ` connection limit 0`)
			p.cut()
			return func() { _ = s.exec(`alter role ` + role + ` connection limit -1`) }, err
		}
		p.set(f)
		return func() { p.set(storagetest.None) }, nil
	}
}

func commitsSynchronously(t *testing.T, s *server) {
	if err := s.exec(`alter role ` + role + ` set synchronous_commit = off`); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.exec(`alter role ` + role + ` reset synchronous_commit`) }()
	// The table's trigger tells what a write was committed with.
	if err := s.exec(`create function tell() returns trigger language plpgsql as
		$$ begin new.epoch := current_setting('synchronous_commit'); return new; end $$;
		create trigger tell before insert on wsnode_documents for each row execute function tell()`); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.exec(`drop function tell() cascade`) }()
	d := todo
	d.Name = "commits synchronously"
	store := open(t, postgres.Config{URL: "host=" + s.socket + " user=" + role + " dbname=postgres"})
	if _, err := store.Save(t.Context(), d, storage.Absent, storage.Meta{}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := store.Stat(t.Context(), d); err != nil || info.Epoch != "on" {
		t.Errorf("committed with synchronous_commit %q, %v; expected on", info.Epoch, err)
	}
}

func notThere(t *testing.T, s *server) {
	at := "host=" + s.socket + " dbname=postgres user="
	for _, c := range []postgres.Config{
		{URL: at + role, Table: "other"}, {URL: at + role, Table: "no_schema.other"}, {URL: at + "nobody"},
		{URL: "host=" + s.socket + " dbname=other user=" + role},
		{URL: at + "admin", Table: "information_schema.tables", Versions: time.Hour}, // has no table of versions
	} {
		store := open(t, c)
		_, loadErr := store.Load(t.Context(), todo, nil)
		_, saveErr := store.Save(t.Context(), todo, storage.Absent, storage.Meta{}, []byte("x"))
		_, listErr := store.List(t.Context(), storage.Query{})
		for what, err := range map[string]error{"load": loadErr, "save": saveErr, "list": listErr} {
			if !errors.Is(err, storage.ErrRefused) || errors.Is(err, storage.ErrAbsent) {
				t.Errorf("%+v: %s: %v, expected ErrRefused", c, what, err)
			}
		}
	}
}

func tooLarge(t *testing.T, s *server) {
	store := open(t, postgres.Config{URL: "host=" + s.socket + " user=" + role + " dbname=postgres"})
	d := todo
	d.Name = "too large"
	if _, err := store.Save(t.Context(), d, storage.Absent, storage.Meta{}, make([]byte, postgres.MaxBody+1)); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("save: %v, expected ErrTooLarge", err)
	}
	if _, err := store.Stat(t.Context(), d); !errors.Is(err, storage.ErrAbsent) {
		t.Errorf("stat: %v, expected ErrAbsent", err)
	}
}

func passFile(t *testing.T, s *server) {
	p := s.proxy(t)
	host, port, _ := net.SplitHostPort(p.listen.Addr().String())
	path := filepath.Join(t.TempDir(), "pass")
	if err := os.WriteFile(path, fmt.Appendf(nil, "%s:%s:postgres:%s:secret\n", host, port, role), 0o600); err != nil {
		t.Fatal(err)
	}
	store := open(t, postgres.Config{URL: p.url(role), PassFile: path}) // trusted without it
	if _, err := store.Stat(t.Context(), todo); err != nil && !errors.Is(err, storage.ErrAbsent) {
		t.Error(err)
	}
	for _, c := range []postgres.Config{{URL: p.url("other"), PassFile: path}, {URL: p.url(role), PassFile: path + ".none"}} {
		if s, err := postgres.Open(t.Context(), c); err == nil {
			s.Close()
			t.Errorf("%+v was opened without a password", c)
		}
	}
}

// An operator who removes a row for good must not bring old versions back.
func versionsAnew(t *testing.T, s *server) {
	store := open(t, postgres.Config{URL: "host=" + s.socket + " user=" + role + " dbname=postgres"})
	d := todo
	d.Name = "anew"
	seen := map[storage.Version]bool{}
	for range 5 {
		v, err := store.Save(t.Context(), d, storage.Absent, storage.Meta{}, []byte("x"))
		if err != nil || seen[v] {
			t.Fatalf("version %s, %v; had %v", v, err, seen)
		}
		seen[v] = true
		if err := s.exec(`delete from wsnode_documents`+whereTodo, keyOf(d)...); err != nil {
			t.Fatal(err)
		}
	}
}

func noSecrets(t *testing.T, _ *server) {
	for _, url := range []string{
		"postgres://u:se%2Fcret@127.0.0.1:1/db?sslmode=bad", "postgres://u:se%2Fcret@127.0.0.1:port/db", "host=h password=se/cret sslmode=bad",
		"postgres://u:se%2Fcret@127.0.0.1:1/db?sslmode=disable",
	} {
		s, err := postgres.Open(t.Context(), postgres.Config{URL: url})
		if err == nil {
			_, err = s.Stat(t.Context(), todo)
			s.Close()
		}
		if err == nil || strings.Contains(err.Error(), "cret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func losesWrites(t *testing.T, s *server) {
	if err := errors.Join(s.exec(`alter system set fsync = off`), s.exec(`select pg_reload_conf()`)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(s.exec(`alter system reset fsync`), s.exec(`select pg_reload_conf()`)) }()
	for {
		// A new connection has the new settings as soon as the server has.
		store := open(t, postgres.Config{URL: s.admin()})
		_, err := store.Stat(t.Context(), todo)
		if errors.Is(err, storage.ErrRefused) && strings.Contains(err.Error(), "fsync") {
			return
		}
		if err != nil && !errors.Is(err, storage.ErrAbsent) {
			t.Fatalf("stat: %v, expected ErrRefused for fsync", err)
		}
	}
}

func TestTableNamesAreQuoted(t *testing.T) {
	for table, expected := range map[string]string{"": `"wsnode_documents"`, "Docs": `"Docs"`, "a.b": `"a"."b"`, `a"b`: "", "a.b.c": "", "a;b": "", ".a": ""} {
		got, err := postgres.Schema(table)
		if (err == nil) != (expected != "") || err == nil && !strings.Contains(got, "create table "+expected+" (") {
			t.Errorf("%q: %.60s, %v", table, got, err)
		}
	}
}
