"""Lists of machines that people have already: Ansible inventories (INI, YAML), CSV, plain lists."""
