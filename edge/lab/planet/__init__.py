"""The lab that grows to a planet: cities, PoPs and regions, from one TOML file."""
