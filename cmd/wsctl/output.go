package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// column is one column of a table.
type column[T any] struct {
	name string
	wide bool // shown by -o wide only
	text func(T) string
}

// printRows prints rows as they come, in the format that was asked for. A row's
// error does not end the listing: all of them are returned in the end, so that
// a node that does not answer hides no other.
func printRows[T any](c *cli, columns []column[T], rows iter.Seq2[T, error]) error {
	var errs []error
	if c.output == "json" {
		if err := printJSON(c.out, rows, &errs); err != nil {
			return closedError{err}
		}
		return errors.Join(errs...)
	}
	var shown []column[T]
	var header []string
	for _, col := range columns {
		if !col.wide || c.output == "wide" {
			shown = append(shown, col)
			header = append(header, col.name)
		}
	}
	t := newTable(c.out, header)
	defer t.close()
	for row, err := range rows {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		cells := make([]string, len(shown))
		for i, col := range shown {
			cells[i] = col.text(row)
		}
		if err := t.row(cells); err != nil {
			return closedError{err}
		}
	}
	if err := t.close(); err != nil {
		return closedError{err}
	}
	return errors.Join(errs...)
}

// printOne prints one row.
func printOne[T any](c *cli, columns []column[T], row T) error {
	if c.output == "json" {
		return writeJSON(c.out, "", row, "\n")
	}
	return printRows(c, columns, func(yield func(T, error) bool) { yield(row, nil) })
}

// widen makes the columns of a row that holds another one.
func widen[T, U any](columns []column[T], inner func(U) T) []column[U] {
	wider := make([]column[U], len(columns))
	for i, col := range columns {
		wider[i] = column[U]{col.name, col.wide, func(u U) string { return col.text(inner(u)) }}
	}
	return wider
}

// events prints rows as they happen: a table, or one JSON object a line. It may
// be used concurrently.
type events[T any] struct {
	c       *cli
	columns []column[T]

	mu    sync.Mutex
	table *table
}

func newEvents[T any](c *cli, columns []column[T]) *events[T] {
	e := &events[T]{c: c}
	var header []string
	for _, col := range columns {
		if !col.wide || c.output == "wide" {
			e.columns = append(e.columns, col)
			header = append(header, col.name)
		}
	}
	if c.output != "json" {
		e.table = newTable(c.out, header)
		e.table.header = header
	}
	return e
}

// print prints a row; an error says that nobody reads on.
func (e *events[T]) print(row T) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.table == nil {
		return writeJSON(e.c.out, "", row, "\n")
	}
	cells := make([]string, len(e.columns))
	for i, col := range e.columns {
		cells[i] = col.text(row)
	}
	return e.table.row(cells)
}

// printJSON prints an array, row by row.
func printJSON[T any](w io.Writer, rows iter.Seq2[T, error], errs *[]error) error {
	open := "[\n "
	for row, err := range rows {
		if err != nil {
			*errs = append(*errs, err)
			continue
		}
		if err := writeJSON(w, open, row, ""); err != nil {
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

// writeJSON writes one line of JSON between two strings.
func writeJSON(w io.Writer, before string, v any, after string) error {
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

// table aligns columns without waiting for the last row: the first rows decide
// how wide the columns are, and in tables of events later ones with a new header.
type table struct {
	w      io.Writer
	timer  *time.Timer
	header []string // comes again when a later row is wider; nil: never

	mu     sync.Mutex
	widths []int
	first  [][]string // rows kept back until the widths are known
	known  bool
	err    error
}

const (
	firstRows = 100                    // decide the widths
	firstWait = 200 * time.Millisecond // unless the next row takes longer
	columnGap = 3
)

func newTable(w io.Writer, header []string) *table {
	t := &table{w: w, widths: make([]int, len(header)), first: [][]string{header}}
	t.timer = time.AfterFunc(firstWait, t.flush)
	return t
}

func (t *table) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flushLocked()
}

func (t *table) flushLocked() {
	t.known = true
	for _, row := range t.first {
		t.widen(row)
	}
	for _, row := range t.first {
		t.write(row)
	}
	t.first = nil
}

// widen makes room for a row, and reports whether there was too little.
func (t *table) widen(row []string) (wider bool) {
	for i, cell := range row {
		if width := utf8.RuneCountInString(cell); width > t.widths[i] {
			t.widths[i] = width
			wider = wider || i < len(row)-1 // nothing stands behind the last
		}
	}
	return wider
}

func (t *table) row(cells []string) error {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known {
		if t.header != nil && t.widen(cells) {
			t.write(t.header)
		}
		t.write(cells)
		return t.err
	}
	if t.first = append(t.first, cells); len(t.first) > firstRows {
		t.flushLocked()
	}
	return t.err
}

func (t *table) write(cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		line.WriteString(cell)
		if i < len(cells)-1 {
			line.WriteString(strings.Repeat(" ", max(0, t.widths[i]-utf8.RuneCountInString(cell))+columnGap))
		}
	}
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.w, strings.TrimRight(line.String(), " "))
	}
}

// close prints what was kept back. More calls do nothing.
func (t *table) close() error {
	t.timer.Stop()
	t.flush()
	return t.err
}

// printable keeps what clients sent from steering the terminal, and empty cells
// from looking like missing ones.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// ago says how long something has been, in at most two units.
func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return shortDuration(time.Since(t))
}

func shortDuration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// count prints a number.
func count[N int | int64 | uint64](n N) string { return fmt.Sprint(n) }

// clockTime is a moment of today, for lines of events.
func clockTime(t time.Time) string { return t.Format("15:04:05.000") }

// kib and mib print sizes in tables, whose headers name the unit: a column of
// figures of one unit can be compared by eye and read by scripts.
func kib[N int | int64 | float64](n N) string { return fmt.Sprintf("%.2f", float64(n)/(1<<10)) }
func mib[N int | int64](n N) string           { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

// bytesText prints a size in a sentence.
func bytesText[N int | int64](n N) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	size := float64(n)
	for len(units) > 1 && size >= 1024 {
		size /= 1024
		units = units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%s", size, units[0])
}
