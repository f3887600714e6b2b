package ystore

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func cpu() int64 {
	var u syscall.Rusage
	syscall.Getrusage(0, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

func tr(tb testing.TB, name string) [][]byte {
	f, err := os.Open(filepath.Join("../../../shared/data", name+".ylog.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, _ := gzip.NewReader(f)
	all, _ := io.ReadAll(z)
	var u [][]byte
	for len(all) > 0 {
		n := binary.LittleEndian.Uint32(all)
		u = append(u, bytes.Clone(all[4:4+n]))
		all = all[4+n:]
	}
	return u
}
func load(u [][]byte) *Store {
	s := New(Limits{})
	for _, x := range u {
		s.Apply(x)
	}
	return s
}
func BenchmarkApply(b *testing.B) {
	u := tr(b, "automerge-paper")
	b.ReportAllocs()
	c0 := cpu()
	defer func() { b.ReportMetric(float64(cpu()-c0)/float64(b.N), "cpu-ns/op") }()
	b.ResetTimer()
	for b.Loop() {
		load(u)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(u)), "ns/update")
}
func BenchmarkLoad(b *testing.B) {
	st := load(tr(b, "automerge-paper")).Encode()
	b.ReportAllocs()
	c0 := cpu()
	defer func() { b.ReportMetric(float64(cpu()-c0)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		New(Limits{}).Apply(st)
	}
}
func BenchmarkEncode(b *testing.B) {
	s := load(tr(b, "automerge-paper"))
	b.ReportAllocs()
	c0 := cpu()
	defer func() { b.ReportMetric(float64(cpu()-c0)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		s.full, s.deletesEnc = nil, nil
		s.Encode()
	}
}
func BenchmarkDiff(b *testing.B) {
	u := tr(b, "automerge-paper")
	sv := load(u[:len(u)-10]).StateVector()
	s := load(u)
	b.ReportAllocs()
	c0 := cpu()
	defer func() { b.ReportMetric(float64(cpu()-c0)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		s.deletesEnc = nil
		s.Diff(sv)
	}
}
