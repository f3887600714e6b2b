package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/wsnode/wsnode/docid"
)

// The fields in which object and HTTP stores keep an Info beside the body, below
// a prefix of the backend's: "wsn-generation" in the metadata of an object,
// "wsnode-generation" in an HTTP header.
const (
	FieldFormat      = "format"
	FieldGeneration  = "generation"
	FieldEpoch       = "epoch"
	FieldRevision    = "revision"
	FieldRegion      = "region"
	FieldKeepDeleted = "keep-deleted"
	FieldTime        = "time"
	FieldSHA256      = "sha256"
	FieldDeleted     = "deleted"
)

// Format is the version of the fields. A body that keeps deleted content has the next
// one: versions that would lose that content refuse it.
const (
	Format        = 1
	formatKeeping = 2
)

// timeFormat is RFC 3339 in UTC with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"

func format(keepDeleted bool) int {
	if keepDeleted {
		return formatKeeping
	}
	return Format
}

// Fields spells info, version and size aside.
func Fields(info Info) map[string]string {
	f := map[string]string{
		FieldFormat:     strconv.Itoa(format(info.KeepDeleted)),
		FieldGeneration: info.Generation.String(),
		FieldSHA256:     info.SHA256.String(),
		FieldTime:       info.Time.UTC().Format(timeFormat),
	}
	if info.Epoch != "" {
		f[FieldEpoch] = url.PathEscape(info.Epoch)
	}
	if info.Revision != 0 {
		f[FieldRevision] = strconv.FormatUint(info.Revision, 10)
	}
	if info.Region != "" {
		f[FieldRegion] = url.PathEscape(string(info.Region))
	}
	if info.KeepDeleted {
		f[FieldKeepDeleted] = "1"
	}
	if info.Deleted {
		f[FieldDeleted] = "1"
	}
	return f
}

// ParseFields is the inverse of Fields; field returns a value, or "" for none.
// hashed is false if there is no hash: the body came into the store by other means.
func ParseFields(field func(name string) string) (info Info, hashed bool, err error) {
	if f := field(FieldFormat); f != "" && f != strconv.Itoa(Format) && f != strconv.Itoa(formatKeeping) {
		return Info{}, false, fmt.Errorf("metadata of format %q, expected at most %d", f, formatKeeping)
	}
	var errs [4]error
	info.Generation, errs[0] = ParseGeneration(field(FieldGeneration))
	info.Epoch, errs[1] = url.PathUnescape(field(FieldEpoch))
	if r := field(FieldRevision); r != "" {
		info.Revision, errs[2] = strconv.ParseUint(r, 10, 64)
	}
	if t := field(FieldTime); t != "" {
		info.Time, errs[3] = time.Parse(timeFormat, t)
	}
	region, err := url.PathUnescape(field(FieldRegion))
	info.Region = docid.Region(region)
	info.KeepDeleted = field(FieldKeepDeleted) != ""
	info.Deleted = field(FieldDeleted) != ""
	if h := field(FieldSHA256); h != "" {
		hashed = true
		raw, hexErr := hex.DecodeString(h)
		if copy(info.SHA256[:], raw); hexErr != nil || len(raw) != len(info.SHA256) {
			err = errors.Join(err, fmt.Errorf("hash %q: expected a SHA-256 in hexadecimal", h))
		}
	}
	return info, hashed, errors.Join(err, errors.Join(errs[:]...))
}

// Described returns what a store will know of a body that is saved with m, or of
// a tombstone if the body is nil. The version is the store's to add.
func Described(m Meta, body []byte) Info {
	m.Time = m.Time.UTC().Truncate(time.Millisecond)
	return Info{Meta: m, Deleted: body == nil, Size: int64(len(body)), SHA256: Sum(body)}
}
