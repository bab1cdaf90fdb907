"""Jobs on a Dask cluster: https://distributed.dask.org."""
