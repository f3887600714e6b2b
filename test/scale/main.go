// Command scale simulates a large deployment from measured costs, and writes what
// its registries, its NATS servers and its pods have to carry.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

// The tables stand between these lines; the rest of the document is written by hand.
const (
	beginMark = "<!-- begin: written by task scale -->\n"
	endMark   = "\n<!-- end: written by task scale -->"
)

func main() {
	path := flag.String("markdown", "", "document to put the tables into; empty: print them")
	flag.Parse()
	if err := write(*path, run(design()).String()); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func write(path, tables string) error {
	if path == "" {
		fmt.Print(tables)
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, _, after, err := cutTables(string(data))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(before+beginMark+tables+endMark+after), 0o644)
}

// cutTables takes a document apart: what is before the tables, the tables, the rest.
func cutTables(document string) (before, tables, after string, err error) {
	before, rest, begins := strings.Cut(document, beginMark)
	tables, after, ends := strings.Cut(rest, endMark)
	if !begins || !ends {
		return "", "", "", fmt.Errorf("lacks the lines %q and %q", beginMark, endMark)
	}
	return before, tables, after, nil
}
