# Rewrites every report of the fixtures and checks/README.md: read the diff before you commit it.
bless:
    BLESS=1 cargo test --test scenarios
    BLESS=1 cargo test --test catalogue
