// Command corpus runs ystore over the test corpora: it answers case files for
// the checker that judges them with real Yjs, and measures traces.
//
//	go run ./test/corpus answers CASES.jsonl.gz OUT.jsonl
//	go run ./test/corpus trace FILE.ylog.gz
//	go run ./test/corpus table FOLDER
//
// The last one measures all traces of a folder with ystore and with real Yjs.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/wsnode/wsnode/relay/ystore"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "answers":
		return writeAnswers(args[1], args[2])
	case len(args) == 2 && args[0] == "trace":
		m, err := measure(args[1])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(m)
	case len(args) == 2 && args[0] == "table":
		return writeTable(os.Stdout, args[1])
	}
	return fmt.Errorf("usage: corpus answers CASES.jsonl.gz OUT.jsonl | corpus trace FILE.ylog.gz | corpus table FOLDER")
}

// answer is what the store says in one case: to a client that has nothing, and
// to each of the case's stale clients.
type answer struct {
	ID    int      `json:"id"`
	State []byte   `json:"state"`
	SV    []byte   `json:"sv"`
	Peers [][]byte `json:"peers"`
}

func writeAnswers(cases, out string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	err = eachCase(cases, func(i int, c testCase) error {
		a, err := answerTo(c)
		if err != nil {
			return err
		}
		a.ID = i
		if c.ID != nil {
			a.ID = *c.ID
		}
		return enc.Encode(a)
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write answers: %w", err)
	}
	return f.Close()
}

func answerTo(c testCase) (answer, error) {
	s := ystore.New(ystore.Limits{})
	for i, u := range c.Log {
		if _, err := s.Apply(u); err != nil {
			return answer{}, fmt.Errorf("update %d: %w", i, err)
		}
	}
	a := answer{State: s.Encode(), SV: s.StateVector(), Peers: [][]byte{}}
	for i, p := range c.Peers {
		diff, err := s.Diff(p.SV)
		if err != nil {
			return answer{}, fmt.Errorf("state vector of peer %d: %w", i, err)
		}
		a.Peers = append(a.Peers, diff)
	}
	return a, nil
}
