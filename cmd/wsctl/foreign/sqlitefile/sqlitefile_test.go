package sqlitefile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// testdata/documents.sqlite was made by SQLite 3.40: pages of 512 bytes, the table that
// Hocuspocus makes, and 64 rows of lengths around the limits of pages, of which every
// eighth was deleted.
const database = "testdata/documents.sqlite"

var lengths = []int{0, 1, 100, 440, 441, 470, 480, 1000, 2500}

func read(path string) (map[string][]byte, error) {
	db, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	found := map[string][]byte{}
	return found, db.Rows("documents", []string{"name", "data", "added"}, func(values []any) error {
		name, ok := values[0].(string)
		data, ok2 := values[1].([]byte)
		if !ok || !ok2 || values[2] != nil || found[name] != nil {
			return fmt.Errorf("row %v", values)
		}
		found[name] = data
		return nil
	})
}

func TestRowsAreThoseThatSQLiteWrote(t *testing.T) {
	found, err := read(database)
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for i := range 64 {
		if i%8 == 2 { // rowids begin with 1
			continue
		}
		rows++
		name := fmt.Sprintf("doc/%d ü", i)
		if data, ok := found[name]; !ok || !bytes.Equal(data, bytes.Repeat([]byte{byte(i)}, lengths[i%len(lengths)])) {
			t.Errorf("%s: %d bytes, %v", name, len(data), ok)
		}
	}
	if len(found) != rows {
		t.Errorf("%d rows, expected %d", len(found), rows)
	}
}

func TestWhatIsNotThereIsNamed(t *testing.T) {
	db, err := Open(database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for table, columns := range map[string][]string{"nothing": {"name"}, "documents": {"name", "body"}} {
		if err := db.Rows(table, columns, func([]any) error { return nil }); err == nil {
			t.Errorf("%s %v was read", table, columns)
		}
	}
	if _, err := Open("sqlitefile.go"); err == nil {
		t.Error("a text was opened")
	}
}

func copyOf(t *testing.T) (path string, content []byte) {
	content, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "x.sqlite")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func TestWhatIsBeingWrittenIsNotRead(t *testing.T) {
	for _, beside := range []string{"-journal", "-wal"} {
		path, _ := copyOf(t)
		if err := os.WriteFile(path+beside, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := read(path); !errors.Is(err, ErrBusy) {
			t.Errorf("with %s: %v, expected ErrBusy", beside, err)
		}
	}
	path, content := copyOf(t)
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	content[changesOffset+3]++ // a commit
	err = db.Rows("documents", []string{"name"}, func([]any) error { return os.WriteFile(path, content, 0o600) })
	if !errors.Is(err, ErrBusy) {
		t.Errorf("written between two rows: %v, expected ErrBusy", err)
	}
}

func TestColumnsAreReadFromAllWaysToWriteThem(t *testing.T) {
	for sql, expected := range map[string][]string{
		`CREATE TABLE t (a, b)`: {"a", "b"},
		"create table \"t\"(\n\"name\" varchar(255) not null,\n[d a] blob\n)": {"name", "d a"},
		"CREATE TABLE t (`x``y` int DEFAULT (1, 2), 'z' text, UNIQUE(z, a))":  {"x`y", "z", "UNIQUE"},
	} {
		if got, err := columnsOf(sql); err != nil || !slices.Equal(got, expected) {
			t.Errorf("%s: %q, %v; expected %q", sql, got, err, expected)
		}
	}
}

// A damaged file ends in an error or in fewer rows, never in a panic or without an end.
func FuzzADamagedFile(f *testing.F) {
	content, err := os.ReadFile(database)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(100, byte(0xff))
	f.Add(16, byte(0))
	f.Add(515, byte(0x7f))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, at int, value byte) {
		damaged := bytes.Clone(content)
		for i := range 8 {
			damaged[(uint(at)+uint(i)*7919)%uint(len(damaged))] ^= value + byte(i)
		}
		path := filepath.Join(dir, "x.sqlite")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = read(path)
	})
}
