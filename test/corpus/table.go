package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nodeDir holds the Node programs, seen from the repository's root.
const nodeDir = "test/corpus/node"

// writeTable measures all traces of a folder with the store and with real Yjs,
// one after the other, and writes the two as a Markdown table.
func writeTable(w io.Writer, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.ylog.gz"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no traces (*.ylog.gz) in %s", dir)
	}
	if _, err := os.Stat(filepath.Join(nodeDir, "node_modules", "yjs")); err != nil {
		cmd := exec.Command("npm", "ci")
		cmd.Dir = nodeDir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("npm ci in %s: %w\n%s", nodeDir, err, out)
		}
	}
	fmt.Fprintln(w, "| trace (updates) | | full state, bytes | structs | apply, µs per update | encode, ms | again, µs | load, ms | last 10 edits, µs | heap, KB |")
	fmt.Fprintln(w, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, f := range files {
		ours, err := measure(f)
		if err != nil {
			return err
		}
		theirs, err := measureYjs(f)
		if err != nil {
			return err
		}
		name := strings.TrimSuffix(filepath.Base(f), ".ylog.gz")
		row(w, fmt.Sprintf("%s (%d)", name, ours.Updates), "Yjs", theirs)
		row(w, "", "wsnode", ours)
	}
	return nil
}

func row(w io.Writer, name, who string, m measurement) {
	fmt.Fprintf(w, "| %s | %s | %d | %d | %.2f | %.2f | %.3g | %.2f | %.0f | %d |\n", name, who, m.CompactBytes, m.Structs,
		m.ApplyNsPerUpdate/1e3, float64(m.EncodeNs)/1e6, float64(m.EncodeCachedNs)/1e3,
		float64(m.LoadNs)/1e6, float64(m.DiffNs)/1e3, m.HeapBytes/1000)
}

func measureYjs(file string) (m measurement, err error) {
	file, err = filepath.Abs(file)
	if err != nil {
		return m, err
	}
	cmd := exec.Command("node", "--expose-gc", "measure.mjs", file)
	cmd.Dir = nodeDir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("node measure.mjs %s: %w\n%s", file, err, stderr.Bytes())
	}
	return m, json.Unmarshal(out, &m)
}
