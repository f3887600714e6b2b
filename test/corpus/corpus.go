package main

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// testCase is one line of a case file, as far as the answers need it.
type testCase struct {
	ID    *int     `json:"id"`
	Log   [][]byte `json:"log"`
	Peers []struct {
		SV []byte `json:"sv"`
	} `json:"peers"`
}

// open reads a file, unpacked if its name ends in .gz.
func open(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil || !strings.HasSuffix(name, ".gz") {
		return f, err
	}
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

// eachCase calls f for every line of a case file.
func eachCase(name string, f func(i int, c testCase) error) error {
	r, err := open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	dec := json.NewDecoder(bufio.NewReaderSize(r, 1<<20))
	for i := 0; ; i++ {
		var c testCase
		if err := dec.Decode(&c); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: case %d: %w", name, i, err)
		}
		if err := f(i, c); err != nil {
			return fmt.Errorf("%s: case %d: %w", name, i, err)
		}
	}
}

// readLog reads the updates of a trace.
func readLog(name string) (updates [][]byte, err error) {
	r, err := open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for len(all) > 0 {
		if len(all) < 4 || uint64(len(all)-4) < uint64(binary.LittleEndian.Uint32(all)) {
			return nil, fmt.Errorf("%s: ends within update %d", name, len(updates))
		}
		n := binary.LittleEndian.Uint32(all)
		updates = append(updates, all[4:4+n:4+n])
		all = all[4+n:]
	}
	return updates, nil
}
