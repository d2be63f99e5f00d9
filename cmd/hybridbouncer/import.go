package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/hybridbouncer/hybridbouncer/config/pgbouncer"
)

// runImport translates PgBouncer's ini files to a configuration file. Notes go to standard error.
func runImport(p *process, args []string) error {
	output := p.flags.String("o", "", "write the configuration to `FILE` instead of standard output; an existing file is not overwritten")
	files, err := p.parseFiles(args)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		fmt.Fprintln(p.stderr, "hybridbouncer import: name PgBouncer's ini files, one for each port")
		return errUsage
	}
	imported, err := pgbouncer.Import(files...)
	var faults pgbouncer.Faults
	if errors.As(err, &faults) {
		return fmt.Errorf("nothing was written, because the behaviour would change without a word\n%w", faults)
	}
	if err != nil {
		return err
	}
	for _, note := range imported.Notes {
		fmt.Fprintln(p.stderr, note)
	}
	if *output == "" {
		_, err := fmt.Fprint(p.stdout, imported.TOML())
		return err
	}
	// The file contains the passwords of the ini files, so only its owner may read it.
	file, err := os.OpenFile(*output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.WriteString(imported.TOML()); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "wrote %s; next: hybridbouncer check -config %s\n", *output, *output)
	return file.Close()
}
