package authn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// lookAtFile is how old the keys of a file get before it is read again: reading it
// costs less than remembering when it changed, of which file systems keep no exact
// account. Only a file that is in use is read.
const lookAtFile = 4 * time.Second

var errNoKeys = errors.New("holds no key that tokens can be verified with")

func readKeyFile(name string) ([]byte, []*publicKey, error) {
	document, err := readBounded(name, maxKeySetBytes)
	if err != nil {
		return nil, nil, err
	}
	keys, err := parseKeySet(document)
	if err == nil && len(keys) == 0 {
		err = errNoKeys // half a rotation, or the key set of another system: no token would be good
	}
	return document, keys, err
}

// readBounded reads a file of at most that many bytes.
func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return content, err
}
