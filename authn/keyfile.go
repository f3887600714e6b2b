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
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	document, err := io.ReadAll(io.LimitReader(f, maxKeySetBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(document) > maxKeySetBytes {
		return nil, nil, fmt.Errorf("%w: more than %d bytes", errNotKeySet, maxKeySetBytes)
	}
	keys, err := parseKeySet(document)
	if err == nil && len(keys) == 0 {
		err = errNoKeys // half a rotation, or the key set of another system: no token would be good
	}
	return document, keys, err
}
