package ystore

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// The malformed cases that are refused, and what is said of them. docs/ystore.md
// explains where this differs from Yjs.
var refused = map[string]string{
	"empty bytes []":                 "byte 0: ends too early",
	"[0]":                            "byte 1: ends too early",
	"truncated last byte":            "byte 12: ends too early",
	"truncated mid string":           "byte 8: length beyond the end",
	"truncated after info":           "byte 4: ends too early",
	"struct count too big":           "byte 13: ends too early",
	"struct count 2^40":              "byte 18: ends too early",
	"struct count 2^31":              "byte 17: ends too early",
	"client varint >53bit":           "byte 2: integer above 2^53-1",
	"clock 2^53-1":                   "byte 11: clock above 2^53-1",
	"info 0x8a (skip w/ high bits)":  "byte 4: skip with flags",
	"info 11":                        "move at byte 4: content of Yrs",
	"info 31":                        "byte 4: unknown kind of struct",
	"parent is self id":              "byte 4: parent is not in the past",
	"origin self future":             "byte 4: origin is not in the past",
	"origin == itself":               "byte 4: origin is not in the past",
	"Deleted len 0":                  "byte 8: deleted item without length",
	"invalid utf8":                   "byte 9: invalid UTF-8",
	"CESU surrogate utf8 (ed a0 bd)": "byte 9: invalid UTF-8",
	"overlong utf8 c0 80":            "byte 9: invalid UTF-8",
	"typeref 7":                      "weak link at byte 8: content of Yrs",
	"cyclic cross-client origins":    "harmful at byte 4: structs that wait for each other in a circle",
	"any tag 115":                    "byte 9: unknown kind of value",
	"any tag 128":                    "byte 9: unknown kind of value",
	"any nested 5000 deep":           "byte 409",
	"any nested 200000 deep":         "byte 409",
	"any array count 2^40":           "byte 16: unknown kind of value",
	"any count 2^40":                 "byte 15: unknown kind of value",
	"json bad":                       "byte 10: invalid JSON",
	"embed bad json":                 "byte 9: invalid JSON",
	"format value undefined":         "byte 11: invalid JSON",
	"buf len beyond":                 "byte 8: length beyond the end",
	"subdoc opts null":               "byte 10: options of a subdocument are not an object",
}

// What of an accepted case is new, where that is not the update itself.
var accepted = map[string]string{
	"[0,0]":                   "",
	"[0,0]+trailing":          "",
	"struct count 0 block":    "",
	"info 10 skip first":      "",
	"empty string content":    "",
	"good+trailing":           "AQEBAAQBAXQDYWJjAA==",
	"empty string then abc":   "AQEBAAQBAXQDYWJjAA==",
	"GC len 0":                "AQEBAAQBAXQDYWJjAA==",
	"Any len 0":               "AQEBAAQBAXQDYWJjAA==",
	"Skip len 0":              "AQEBAAQBAXQDYWJjAA==",
	"same client two blocks":  "AQEBAAQBAXQFYWJjZGUA",
	"ascending clients":       "AgECAIQBAgJYWQEBAAQBAXQDYWJjAA==",
	"ds len 0":                "AQEBAAQBAXQDYWJjAA==",
	"ds unsorted overlapping": "AQEBAAEBAXQDAQEBAAM=",
	"ds same client twice":    "AQIBAAEBAXQChAEBAWMBAQEAAg==",
	"parentSub on text root":  "AQIBACEBAXQDa2V5AqQBAQFjAQEBAAI=",
}

func TestMalformedUpdatesAreRefusedOrReadAsDocumented(t *testing.T) {
	seen := 0
	for dec := json.NewDecoder(dataFile(t, "malformed.jsonl")); ; seen++ {
		var c struct {
			Name   string
			Update []byte
			Apply  string
		}
		if dec.Decode(&c) != nil {
			break
		}
		t.Run(c.Name, func(t *testing.T) {
			s := New(Limits{})
			before := s.Encode()
			fresh, err := s.Apply(c.Update)
			if e := verify(s); e != nil {
				t.Fatal(e)
			}
			if want, ok := refused[c.Name]; ok {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("got %v, want %q", err, want)
				}
				var ue *UpdateError
				if !errors.As(err, &ue) && !errors.Is(err, ErrTooDeep) {
					t.Fatalf("unexpected kind of error: %v", err)
				}
				if !bytes.Equal(s.Encode(), before) || s.Stats().Clients != 0 {
					t.Fatal("left something behind")
				}
				return
			}
			if strings.HasPrefix(c.Apply, "THROW") {
				t.Fatal("Yjs refuses what is accepted here")
			}
			if err != nil {
				t.Fatal(err)
			}
			want := c.Update
			if w, ok := accepted[c.Name]; ok {
				want, _ = base64.StdEncoding.DecodeString(w)
			}
			if !bytes.Equal(fresh, want) {
				t.Fatalf("new is %x, want %x", fresh, want)
			}
		})
	}
	if seen < 60 {
		t.Fatalf("only %d malformed cases", seen)
	}
}
