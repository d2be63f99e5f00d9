package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// token is a word of a line. In double quotes no word is a keyword.
type token struct {
	text   string
	quoted bool
}

// is reports whether the token is this keyword, without quotes.
func (t token) is(keyword string) bool { return !t.quoted && t.text == keyword }

// hbaLine is a line that is not empty. Each of its fields is a list of words with commas between them.
type hbaLine struct {
	file   string
	line   int
	fields [][]token
}

func (l hbaLine) fault(err error) error { return fmt.Errorf("%s:%d: %w", l.file, l.line, err) }

// lineReader reads the lines of pg_hba.conf and pg_ident.conf as PostgreSQL does (libpq/hba.c). A line that ends
// with \ goes on with the next one. # begins a comment. include reads other files. @name stands for the words in a file.
type lineReader struct {
	read func(path string) ([]byte, error)
	list func(dir string) ([]string, error)
}

// includesMax bounds how deep files may include other files, as PostgreSQL's CONF_FILE_MAX_DEPTH does.
const includesMax = 10

var errIncludes = errors.New("too many files include each other; does one include itself?")

// lines returns the lines of a file and of the files that it includes. The error lists all faults.
func (r lineReader) lines(path string, depth int) ([]hbaLine, error) {
	if depth > includesMax {
		return nil, errIncludes
	}
	text, err := r.read(path)
	if err != nil {
		return nil, err
	}
	var all []hbaLine
	var faults []error
	number, rest := 0, string(text)
	for rest != "" {
		line := hbaLine{file: path, line: number + 1}
		var logical strings.Builder
		for more := true; more && rest != ""; number++ {
			var physical string
			physical, rest, _ = strings.Cut(rest, "\n")
			physical, more = strings.CutSuffix(strings.TrimRight(physical, "\r"), `\`)
			logical.WriteString(physical)
		}
		if line.fields, err = r.fields(logical.String(), path, depth); err != nil {
			faults = append(faults, line.fault(err))
		} else if included, is, err := r.include(line, depth); err != nil {
			faults = append(faults, line.fault(err))
		} else if is {
			all = append(all, included...)
		} else if len(line.fields) > 0 {
			all = append(all, line)
		}
	}
	return all, errors.Join(faults...)
}

// include reads the files that a line includes. is reports whether it is such a line.
func (r lineReader) include(l hbaLine, depth int) (lines []hbaLine, is bool, err error) {
	if len(l.fields) == 0 || len(l.fields[0]) != 1 || l.fields[0][0].quoted {
		return nil, false, nil
	}
	word := l.fields[0][0].text
	if word != "include" && word != "include_if_exists" && word != "include_dir" {
		return nil, false, nil
	}
	if len(l.fields) != 2 || len(l.fields[1]) != 1 {
		return nil, true, fmt.Errorf("%s wants one name", word)
	}
	path := beside(l.file, l.fields[1][0].text)
	files := []string{path}
	if word == "include_dir" {
		if files, err = r.list(path); err != nil {
			return nil, true, err
		}
	}
	for _, file := range files {
		more, err := r.lines(file, depth+1)
		if err != nil && (word != "include_if_exists" || !errors.Is(err, fs.ErrNotExist)) {
			return nil, true, err
		}
		lines = append(lines, more...)
	}
	return lines, true, nil
}

// beside resolves a path that is relative to the directory of a file.
func beside(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

// fields cuts a line into fields.
func (r lineReader) fields(line, path string, depth int) ([][]token, error) {
	var fields [][]token
	for {
		var field []token
		found := false // words of the field; with an empty file the field matches no client
		for more := true; more; {
			word, rest, comma, err := nextToken(line)
			if err != nil {
				return nil, err
			}
			line, more = rest, comma
			if word == nil {
				break
			}
			found = true
			if name, file := strings.CutPrefix(word.text, "@"); file && !word.quoted && name != "" {
				words, err := r.words(beside(path, name), depth+1)
				if err != nil {
					return nil, err
				}
				field = append(field, words...)
				continue
			}
			field = append(field, *word)
		}
		if !found {
			return fields, nil // the end of the line, or a comment
		}
		fields = append(fields, field)
	}
}

// words returns all words of a file that @name stands for.
func (r lineReader) words(path string, depth int) ([]token, error) {
	if depth > includesMax {
		return nil, errIncludes
	}
	text, err := r.read(path)
	if err != nil {
		return nil, err
	}
	var words []token
	for line := range strings.Lines(string(text)) {
		fields, err := r.fields(strings.TrimRight(line, "\r\n"), path, depth)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, f := range fields {
			words = append(words, f...)
		}
	}
	return words, nil
}

// nextToken cuts the next word off a line. It returns nil at the end of the line. comma means that a comma follows, so that the field goes
// on. Quotes may begin anywhere in a word. A word that begins with a quote is no keyword. A doubled quote inside quotes stands for one.
func nextToken(line string) (word *token, rest string, comma bool, err error) {
	line = strings.TrimLeft(line, " \t\r,")
	if line == "" || line[0] == '#' {
		return nil, "", false, nil
	}
	t := &token{quoted: line[0] == '"'}
	var text strings.Builder
	inQuotes, wasQuote := false, false
	i := 0
	for ; i < len(line); i++ {
		c := line[i]
		if !inQuotes && (c == ' ' || c == '\t' || c == '\r') {
			break
		}
		if !inQuotes && c == '#' {
			i = len(line)
			break
		}
		if !inQuotes && c == ',' {
			comma = true
			i++
			break
		}
		if c != '"' || wasQuote {
			text.WriteByte(c)
		}
		wasQuote = inQuotes && c == '"' && !wasQuote
		if c == '"' {
			inQuotes = !inQuotes
		}
	}
	if inQuotes {
		return nil, "", false, errors.New("a double quote is not closed on its line")
	}
	t.text = text.String()
	return t, line[i:], comma, nil
}
