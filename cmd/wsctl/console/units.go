package console

import (
	"fmt"
	"time"
)

// Ago says how long something has been, in at most two units.
func Ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return ShortDuration(time.Since(t))
}

// ShortDuration spells a duration in at most two units.
func ShortDuration(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// Count prints a number.
func Count[N int | int64 | uint64](n N) string { return fmt.Sprint(n) }

// ClockTime is a moment of today, for lines of events.
func ClockTime(t time.Time) string { return t.Format("15:04:05.000") }

// KiB prints sizes in tables, whose headers name the unit: a column of
// figures of one unit can be compared by eye and read by scripts.
func KiB[N int | int64 | float64](n N) string { return fmt.Sprintf("%.2f", float64(n)/(1<<10)) }

// MiB prints a size of memory: see KiB.
func MiB[N int | int64](n N) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

// Bytes prints a size in a sentence.
func Bytes[N int | int64](n N) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	size := float64(n)
	for len(units) > 1 && size >= 1024 {
		size /= 1024
		units = units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.1f%s", size, units[0])
}

// Plural spells a number of things.
func Plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Millis prints milliseconds; 0 is not known.
func Millis(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", ms)
}

// Stamp prints a moment of any day.
func Stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
