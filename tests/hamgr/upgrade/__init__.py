"""How hamgr replaces itself."""
