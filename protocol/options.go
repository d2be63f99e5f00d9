package protocol

import "strings"

// ParseOptions reads the startup parameter "options" as PostgreSQL does (utils/init/postinit.c, pg_split_opts): words separated by
// white space, a backslash takes the character behind it as it is. "-c name=value", "-cname=value" and "--name=value" are
// understood, in names "-" means "_". Other switches of the postgres program are refused: none of them is a setting of a session
// that a client could not give by -c. The error is an *Error, worded as PostgreSQL's.
func ParseOptions(options string) ([]Param, error) {
	var params []Param
	words := splitOptions(options)
	for i := 0; i < len(words); i++ {
		setting, prefix := words[i], ""
		switch {
		case setting == "-c" && i+1 < len(words):
			i++
			setting, prefix = words[i], "-c "
		case strings.HasPrefix(setting, "-c") && setting != "-c":
			setting, prefix = setting[2:], "-c "
		case strings.HasPrefix(setting, "--") && setting != "--":
			setting, prefix = setting[2:], "--"
		default:
			return nil, errOption("invalid command-line argument for server process: " + setting)
		}
		name, value, ok := strings.Cut(setting, "=")
		switch {
		case !ok:
			return nil, errOption(prefix + setting + " requires a value")
		case name == "":
			return nil, errOption("invalid command-line argument for server process: " + prefix + setting)
		}
		params = append(params, Param{Name: strings.ReplaceAll(name, "-", "_"), Value: value})
	}
	return params, nil
}

// errOption is PostgreSQL's refusal of a command line (tcop/postgres.c, process_postgres_switches).
func errOption(text string) *Error {
	return &Error{
		Severity: "FATAL", Code: "42601", Message: text,
		Hint: "In the startup parameter \"options\", -c name=value and --name=value are understood.",
	}
}

// splitOptions makes words of options. A backslash at the very end is dropped.
func splitOptions(s string) []string {
	var words []string
	var word []byte
	inWord := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == ' ' || c >= '\t' && c <= '\r':
			if inWord {
				words, word, inWord = append(words, string(word)), word[:0], false
			}
			continue
		case c == '\\' && i+1 < len(s):
			i++
			word = append(word, s[i])
		case c == '\\':
		default:
			word = append(word, c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, string(word))
	}
	return words
}
