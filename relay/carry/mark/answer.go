package mark

import (
	"encoding/json"
	"net/netip"
)

// Answer is what a home says to a check: as JSON, in the reason of its close frame if it
// believes the mark, else in an answer with status 403. A home that was not meant answers 421.
type Answer struct {
	// Peer is who connected, as the home sees it: the last proxy, or the check itself.
	Peer netip.Addr `json:"peer,omitzero"`
	// Unheeded says that Peer is a proxy which the home does not know: it sent
	// X-Forwarded-For, and is not believed.
	Unheeded bool `json:"unheeded,omitempty"`
	// Why says why the mark is not believed.
	Why string `json:"why,omitempty"`
}

// CodeChecked is the close code that ends a check whose mark is believed.
const CodeChecked = 1000

// Text writes the answer.
func (a Answer) Text() string {
	text, _ := json.Marshal(a) // an Answer can always be written
	return string(text)
}

// ReadAnswer reads one.
func ReadAnswer(text []byte) (a Answer, err error) {
	err = json.Unmarshal(text, &a)
	return a, err
}
