from tests.hamgr.bootstrap.conftest import places

__all__ = ["places"]
