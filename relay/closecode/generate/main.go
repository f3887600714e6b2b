// Generate writes the tables of close codes into the documents and the client
// package. It runs in relay/closecode: go generate ./relay/closecode.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/wsnode/wsnode/relay/closecode/tables"
)

func main() {
	const root = "../.."
	for _, t := range tables.All {
		path := filepath.Join(root, t.Path)
		old, err := os.ReadFile(path)
		if err == nil {
			var written []byte
			if written, err = t.Write(old); err == nil {
				err = os.WriteFile(path, written, 0o644)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
