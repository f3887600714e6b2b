//go:build !race

// The whole deployment has 19 million sessions: the race detector would need
// minutes for it, and looks at the same code in the other tests.

package main

import (
	"os"
	"strings"
	"testing"
)

func TestTheDocumentHasTheTablesOfTheSimulation(t *testing.T) {
	data, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	_, written, _, err := cutTables(string(data))
	if err != nil {
		t.Fatal(err)
	}
	expected := strings.Split(run(design()).String(), "\n")
	for i, line := range strings.Split(written, "\n") {
		if i >= len(expected) || line != expected[i] {
			t.Fatalf("docs/scale.md says\n%s\nthe simulation says\n%s\nrun the task scale, and see whether the text is still right", line, expected[min(i, len(expected)-1)])
		}
	}
}
