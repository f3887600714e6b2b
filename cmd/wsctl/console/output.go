package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Column is one column of a table.
type Column[T any] struct {
	name string
	wide bool // shown by -o wide only
	text func(T) string
}

// PrintRows prints rows as they come, in the format that was asked for. A row's
// error does not end the listing: all of them are returned in the end, so that
// a node that does not answer hides no other.
func PrintRows[T any](c *Console, columns []Column[T], rows iter.Seq2[T, error]) error {
	var errs []error
	if c.JSON() {
		if err := printJSON(c.Out, rows, &errs); err != nil {
			return closedError{err}
		}
		return errors.Join(errs...)
	}
	shown, header := chosen(c, columns)
	t := newTable(c.Out, header)
	defer t.close()
	for row, err := range rows {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if err := t.row(cells(shown, row)); err != nil {
			return closedError{err}
		}
	}
	if err := t.close(); err != nil {
		return closedError{err}
	}
	return errors.Join(errs...)
}

// chosen are the columns that were asked for, and their names.
func chosen[T any](c *Console, columns []Column[T]) (shown []Column[T], header []string) {
	for _, col := range columns {
		if !col.wide || c.Wide() {
			shown = append(shown, col)
			header = append(header, col.name)
		}
	}
	return shown, header
}

func cells[T any](columns []Column[T], row T) []string {
	texts := make([]string, len(columns))
	for i, col := range columns {
		texts[i] = col.text(row)
	}
	return texts
}

// PrintOne prints one row.
func PrintOne[T any](c *Console, columns []Column[T], row T) error {
	if c.JSON() {
		return c.Value(row)
	}
	return PrintRows(c, columns, func(yield func(T, error) bool) { yield(row, nil) })
}

// Widen makes the columns of a row that holds another one.
func Widen[T, U any](columns []Column[T], inner func(U) T) []Column[U] {
	wider := make([]Column[U], len(columns))
	for i, col := range columns {
		wider[i] = Column[U]{col.name, col.wide, func(u U) string { return col.text(inner(u)) }}
	}
	return wider
}

// Events prints rows as they happen: a table, or one JSON object a line. It may
// be used concurrently.
type Events[T any] struct {
	c       *Console
	columns []Column[T]

	mu    sync.Mutex
	table *table
}

// NewEvents begins a table of events.
func NewEvents[T any](c *Console, columns []Column[T]) *Events[T] {
	shown, header := chosen(c, columns)
	e := &Events[T]{c: c, columns: shown}
	if !c.JSON() {
		e.table = newTable(c.Out, header)
		e.table.header = header
	}
	return e
}

// Print prints a row; an error says that nobody reads on.
func (e *Events[T]) Print(row T) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.table == nil {
		return closed(WriteJSON(e.c.Out, "", row, "\n"))
	}
	return closed(e.table.row(cells(e.columns, row)))
}

// printJSON prints an array, row by row.
func printJSON[T any](w io.Writer, rows iter.Seq2[T, error], errs *[]error) error {
	open := "[\n "
	for row, err := range rows {
		if err != nil {
			*errs = append(*errs, err)
			continue
		}
		if err := WriteJSON(w, open, row, ""); err != nil {
			return err
		}
		open = ",\n "
	}
	end := "\n]\n"
	if open == "[\n " {
		end = "[]\n"
	}
	_, err := io.WriteString(w, end)
	return err
}

// WriteJSON writes one line of JSON between two strings.
func WriteJSON(w io.Writer, before string, v any, after string) error {
	var b bytes.Buffer
	b.WriteString(before)
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line's end
	b.WriteString(after)
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}

// escapeUnprintable writes what could steer a terminal as JSON escapes: C1 controls,
// and those that turn the direction of text. Outside strings JSON has none of them.
func escapeUnprintable(text []byte) []byte {
	clean := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r == '\n' || unicode.IsPrint(r) {
			clean = utf8.AppendRune(clean, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			clean = fmt.Appendf(clean, `\u%04x`, unit)
		}
	}
	return clean
}

// Shown is a column of every table.
func Shown[T any](name string, text func(T) string) Column[T] { return Column[T]{name, false, text} }

// Wide is a column that -o wide adds.
func Wide[T any](name string, text func(T) string) Column[T] { return Column[T]{name, true, text} }

// closedError says that nobody reads what is printed any more.
type closedError struct{ error }

func closed(err error) error {
	if err == nil {
		return nil
	}
	return closedError{err}
}

// IsClosed reports whether an error says that nobody reads what is printed any more.
func IsClosed(err error) bool { return errors.As(err, new(closedError)) }

// InMemory are rows that were collected, and what went wrong with others.
func InMemory[T any](rows []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}
