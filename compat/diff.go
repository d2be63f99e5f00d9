package compat

import (
	"slices"
	"strings"
)

// Transcript holds the answers that each client of a play got, a line a message.
type Transcript map[string][]string

// String is all of it, for people.
func (t Transcript) String() string {
	var out strings.Builder
	for _, client := range t.clients() {
		for _, line := range t[client] {
			out.WriteString(client + "< " + line + "\n")
		}
	}
	return out.String()
}

func (t Transcript) clients() []string {
	clients := make([]string, 0, len(t))
	for client := range t {
		clients = append(clients, client)
	}
	slices.Sort(clients)
	return clients
}

// Diff lists the differences of two transcripts: "- " before a line that only the first has, "+ " before one that only the second has,
// each with its client's name. Empty if they are equal.
func Diff(a, b Transcript) []string {
	var out []string
	clients := append(a.clients(), b.clients()...)
	slices.Sort(clients)
	for _, client := range slices.Compact(clients) {
		for _, line := range diffLines(a[client], b[client]) {
			out = append(out, line[:2]+client+"< "+line[2:])
		}
	}
	return out
}

// diffLines is the shortest difference of two lists of lines, by their longest common subsequence.
func diffLines(a, b []string) []string {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	common := make([][]int, len(a)+1) // [i][j]: of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}
